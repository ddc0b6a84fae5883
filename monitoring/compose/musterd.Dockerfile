# musterd in a container: the files of its Debian package on Debian. Put the package beside this file as musterd.deb.
FROM debian:bookworm-slim
COPY musterd.deb /tmp/musterd.deb
RUN dpkg-deb --extract /tmp/musterd.deb / && rm /tmp/musterd.deb && install -d -o 65532 -g 65532 -m 0750 /var/lib/musterd
USER 65532:65532
ENTRYPOINT ["/usr/bin/musterd", "run", "--config", "/etc/musterd/musterd.toml"]
