# systemd unit, sysusers.
