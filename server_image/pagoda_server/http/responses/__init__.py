"""`POST /v1/responses`, OpenAI's API of items. It keeps nothing: the gateway makes whole what goes on."""
