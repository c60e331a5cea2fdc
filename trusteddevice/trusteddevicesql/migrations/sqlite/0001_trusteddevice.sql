-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_trusted_devices (
	tenant     text NOT NULL,
	id         text NOT NULL,
	user_id    text NOT NULL,
	hash       blob NOT NULL,
	agent      text NOT NULL,
	created_at integer NOT NULL,
	expires_at integer NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX IF NOT EXISTS authkit_trusted_devices_user ON authkit_trusted_devices (tenant, user_id, created_at);
CREATE INDEX IF NOT EXISTS authkit_trusted_devices_expiry ON authkit_trusted_devices (tenant, expires_at);
