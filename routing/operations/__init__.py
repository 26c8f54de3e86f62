"""Changes to classes, evidence and policies: each in one transaction with its audit entry."""
