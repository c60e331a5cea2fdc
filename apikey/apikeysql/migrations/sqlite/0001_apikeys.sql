-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_api_keys (
	tenant         text NOT NULL,
	id             text NOT NULL,
	user_id        text NOT NULL,
	service_id     text NOT NULL,
	name           text NOT NULL,
	scopes         text NOT NULL,
	networks       text NOT NULL,
	hash           blob NOT NULL,
	previous_hash  blob NOT NULL,
	previous_until integer NOT NULL,
	version        integer NOT NULL,
	created_at     integer NOT NULL,
	expires_at     integer NOT NULL,
	last_used_at   integer NOT NULL,
	rotated_at     integer NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX IF NOT EXISTS authkit_api_keys_owner ON authkit_api_keys (tenant, user_id, service_id);
CREATE INDEX IF NOT EXISTS authkit_api_keys_expiry ON authkit_api_keys (tenant, expires_at);
CREATE TABLE IF NOT EXISTS authkit_services (
	tenant     text NOT NULL,
	id         text NOT NULL,
	roles      text NOT NULL,
	created_at integer NOT NULL,
	PRIMARY KEY (tenant, id)
);
