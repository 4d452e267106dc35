"""Tools for language-model agents: the Model Context Protocol (MCP) over files in named folders."""
