"""What an operator sees and does, in the same words on the dashboard, the API and the shell."""
