"""Keys, tokens and Microsoft Entra sign-in."""
