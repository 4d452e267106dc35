"""Finding, describing and managing endpoints in an Azure subscription."""
