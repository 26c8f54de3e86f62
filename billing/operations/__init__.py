"""Changes to the facts about money: each in one transaction, with its audit entry."""
