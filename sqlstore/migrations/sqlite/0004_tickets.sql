-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_tickets (
	tenant       text NOT NULL,
	kind         text NOT NULL,
	id           text NOT NULL,
	subject      text,
	hash         blob NOT NULL,
	body         blob NOT NULL,
	attempts     integer NOT NULL,
	max_attempts integer NOT NULL,
	created_at   integer NOT NULL,
	expires_at   integer NOT NULL,
	PRIMARY KEY (tenant, kind, id)
);
CREATE UNIQUE INDEX IF NOT EXISTS authkit_tickets_latest ON authkit_tickets (tenant, kind, subject);
CREATE INDEX IF NOT EXISTS authkit_tickets_subject ON authkit_tickets (tenant, subject);
CREATE INDEX IF NOT EXISTS authkit_tickets_expiry ON authkit_tickets (tenant, expires_at);
