#!/bin/sh
# Finds or fetches what the tests against real servers need: the Apache Kafka
# jars, Java 17 to run them, redis-server, Chromium, Prometheus, and the OpenAI client. Builds Hugging
# Face's tokenizers for the tests of the tag hftokenizers, if Rust is here. With
# CHUNKTIDE_TEST_REAL=0 those tests are left out and nothing is fetched.
set -eu
cd "$(dirname "$0")/../.."
if [ "${CHUNKTIDE_TEST_REAL:-1}" = 0 ]; then
	echo "CHUNKTIDE_TEST_REAL=0: the tests against a real Kafka and a real Redis, and those in a browser, are left out"
	exit 0
fi
want() {
	command -v "$1" >/dev/null 2>&1 && return 0
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		echo "installing $2 ($1 is not on the PATH)"
		{ apt-get install -y -q "$2" || { apt-get update -q && apt-get install -y -q "$2"; }; } >/dev/null
		command -v "$1" >/dev/null 2>&1 && return 0
	fi
	echo "$1 is needed by the tests and was not found: install it (Debian and Ubuntu: apt-get install $2)," >&2
	echo "or leave out the tests against real servers with CHUNKTIDE_TEST_REAL=0" >&2
	exit 1
}
want java openjdk-17-jre-headless
want mvn maven
want redis-server redis-server
want chromium chromium
want promtool prometheus
if tools/setup/tokenizers.sh --can; then
	sh tools/setup/tokenizers.sh
fi
python3 tools/openai/setup.py
exec sh tools/kafka/setup.sh
