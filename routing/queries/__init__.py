"""Reading decisions into frozen values."""
