"""The model side: training, evaluation and export of the models that the gateway serves. Never imports `service`."""
