-- Stands for resty.http, which Debian lacks: the controller loads it, and the stories use nothing of it.
return {}
