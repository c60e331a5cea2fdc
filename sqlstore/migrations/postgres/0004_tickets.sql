-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_tickets (
	tenant       text COLLATE "C" NOT NULL,
	kind         text COLLATE "C" NOT NULL,
	id           text COLLATE "C" NOT NULL,
	subject      text COLLATE "C",
	hash         bytea NOT NULL,
	body         bytea NOT NULL,
	attempts     integer NOT NULL,
	max_attempts integer NOT NULL,
	created_at   bigint NOT NULL,
	expires_at   bigint NOT NULL,
	PRIMARY KEY (tenant, kind, id)
);
CREATE UNIQUE INDEX IF NOT EXISTS authkit_tickets_latest ON authkit_tickets (tenant, kind, subject);
CREATE INDEX IF NOT EXISTS authkit_tickets_subject ON authkit_tickets (tenant, subject);
CREATE INDEX IF NOT EXISTS authkit_tickets_expiry ON authkit_tickets (tenant, expires_at);
