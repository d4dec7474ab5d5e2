#!/usr/bin/env bash
# Find a Java for Spark (17 or newer): the installed one, else the system's package if this user may install it.
set -u
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
major=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
[ "${major:-0}" -ge 17 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing default-jre-headless"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq default-jre-headless >/dev/null && exit 0
fi
echo "pairmill: error: environment_invalid: Spark needs Java 17 or newer (found: ${major:-none}); install a JRE, e.g. default-jre-headless, or set JAVA_HOME" >&2
exit 2
