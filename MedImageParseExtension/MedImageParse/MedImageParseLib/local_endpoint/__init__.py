"""The local endpoint: a classical engine that speaks the models' wire format, for trying and testing everything on one machine."""
