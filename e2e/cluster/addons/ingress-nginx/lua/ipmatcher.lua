-- Stands for resty.ipmatcher, which Debian lacks: the controller loads it, and the stories use nothing of it.
return {}
