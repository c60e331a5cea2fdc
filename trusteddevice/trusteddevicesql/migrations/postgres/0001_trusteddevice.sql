-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_trusted_devices (
	tenant     text COLLATE "C" NOT NULL,
	id         text COLLATE "C" NOT NULL,
	user_id    text COLLATE "C" NOT NULL,
	hash       bytea NOT NULL,
	agent      text NOT NULL,
	created_at bigint NOT NULL,
	expires_at bigint NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX IF NOT EXISTS authkit_trusted_devices_user ON authkit_trusted_devices (tenant, user_id, created_at);
CREATE INDEX IF NOT EXISTS authkit_trusted_devices_expiry ON authkit_trusted_devices (tenant, expires_at);
