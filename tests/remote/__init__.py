"""Tests against a real LangGraph server."""
