"""Reading the facts about money into frozen values."""
