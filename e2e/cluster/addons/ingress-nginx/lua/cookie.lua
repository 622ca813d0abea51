-- Debian has lua-resty-cookie under another name.
return require("nginx.cookie")
