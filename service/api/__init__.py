"""The HTTP surface: requests in, answers out. Decides nothing about runs; nothing below it imports the framework."""
