-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_api_keys (
	tenant         text COLLATE "C" NOT NULL,
	id             text COLLATE "C" NOT NULL,
	user_id        text COLLATE "C" NOT NULL,
	service_id     text COLLATE "C" NOT NULL,
	name           text NOT NULL,
	scopes         text NOT NULL,
	networks       text NOT NULL,
	hash           bytea NOT NULL,
	previous_hash  bytea NOT NULL,
	previous_until bigint NOT NULL,
	version        bigint NOT NULL,
	created_at     bigint NOT NULL,
	expires_at     bigint NOT NULL,
	last_used_at   bigint NOT NULL,
	rotated_at     bigint NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX IF NOT EXISTS authkit_api_keys_owner ON authkit_api_keys (tenant, user_id, service_id);
CREATE INDEX IF NOT EXISTS authkit_api_keys_expiry ON authkit_api_keys (tenant, expires_at);
CREATE TABLE IF NOT EXISTS authkit_services (
	tenant     text COLLATE "C" NOT NULL,
	id         text COLLATE "C" NOT NULL,
	roles      text NOT NULL,
	created_at bigint NOT NULL,
	PRIMARY KEY (tenant, id)
);
