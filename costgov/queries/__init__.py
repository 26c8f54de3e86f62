"""Queries that need both apps."""
