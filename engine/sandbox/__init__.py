"""The world outside on one machine: a carrier with telephones, an ear, and a message gateway that sends nothing on."""
