"""The capabilities, one package each. `service.app` discovers them; none is registered by hand."""
