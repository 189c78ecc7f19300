"""The door for applications: OpenAI's, Cohere's and Ollama's dialects over one `EngineAPI`."""
