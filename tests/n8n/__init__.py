"""The workflows of `docs/n8n` in a real n8n, with Halley and the simulated upstream: `python -m tests.n8n FOLDER`.

Run by hand, for n8n is 2 GB. `instance` is n8n, `halley` the service, each a program that can be killed; `workflows`
are the shipped files with what a user would change in them; `scenes` are the stories, `pages` those of what else the
pages say, `answers` what n8n says to an event in each state of an execution, `vocabulary` what its nodes take, `report`
the table.
"""
