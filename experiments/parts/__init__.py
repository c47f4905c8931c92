"""What several drivers are made of; a driver says how its parts are put together and compared."""
