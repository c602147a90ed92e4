//! The OAuth2 provider's deeds: issue a code to a browser, and a token to the client that brings it back.
