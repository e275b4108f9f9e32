select state from looppause_flows.flows where flow_id = %(flow_id)s and state is not null
