"""The whole thing on one machine with nothing to configure: servers, producer, function, count."""
