# Stands for python:3.12-slim in the stories' images: Debian's own Python, from Debian's mirror. push-images.sh makes base.tar.
FROM scratch
ADD base.tar /
ENV PATH=/usr/local/bin:/usr/bin:/bin
