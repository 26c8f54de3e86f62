"""The JSON surface: the same contexts as the pages, and what gateways call."""
