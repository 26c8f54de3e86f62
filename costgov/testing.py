"""pytest plugin: throw-away PostgreSQL and Valkey for the test run."""
