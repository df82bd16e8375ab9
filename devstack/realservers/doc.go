// Package realservers starts a real Apache Kafka broker, a real Redis server, a
// PostgreSQL server, and any other command for tests, on free ports of
// 127.0.0.1, with their data in a folder that the test names.
//
// A server belongs to the test process that started it: it is killed when that
// process ends in whatever way (on Linux), and Kill, Stop and Restart touch that
// one process and no other. Start returns when the server serves, or with an
// error that holds the end of its log.
//
// What has to be installed: Java 17 or newer and the Kafka jars (make setup-real
// fetches them into .cache/kafka), and redis-server. [RequireKafka] and
// [RequireRedis] say so to a test; [RunPostgres] needs PostgreSQL as well.
package realservers
