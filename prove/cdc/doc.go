// Package cdc runs docs/CDC.md: the files of deploy/cdc, on a real PostgreSQL,
// a real Kafka broker, Kafka Connect and Debezium, and four workers. It holds
// that the index equals the table after a snapshot that rows and an open
// transaction changed meanwhile, after every kind of change, and after another
// snapshot behind a lost slot.
//
// `make test-cdc` runs it. It is behind the build tag cdc, since it needs a
// minute, PostgreSQL, and jars that no other test does.
package cdc
