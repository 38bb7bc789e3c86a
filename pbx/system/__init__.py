"""What this installation is: its realm, its address, its running SIP processes."""
