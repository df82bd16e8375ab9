-- A table of chunks, and what Debezium needs to follow it. wal_level must be
-- logical.
CREATE TABLE chunks (
	document_id text   NOT NULL,
	chunk_id    text   NOT NULL,
	position    bigint NOT NULL DEFAULT 0,
	text        text,
	metadata    jsonb  NOT NULL DEFAULT '{}',
	version     bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (document_id, chunk_id)
);

-- Every change of a row gets a higher version than any before it. The trigger
-- runs while the row is locked, so that two changes of one row cannot swap.
CREATE SEQUENCE chunk_versions;

CREATE FUNCTION next_chunk_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.version := nextval('chunk_versions');
	RETURN NEW;
END
$$;

CREATE TRIGGER chunk_version BEFORE INSERT OR UPDATE ON chunks
	FOR EACH ROW EXECUTE FUNCTION next_chunk_version();

-- Debezium reads the changes through a publication, and the table for the
-- snapshot.
CREATE PUBLICATION chunks FOR TABLE chunks;
CREATE ROLE debezium LOGIN REPLICATION;
GRANT SELECT ON chunks TO debezium;
GRANT USAGE ON SEQUENCE chunk_versions TO PUBLIC;
