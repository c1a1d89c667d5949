"""The backend inside this process: `backend` watches a repository, `served` is a version of a model, `session` runs."""
