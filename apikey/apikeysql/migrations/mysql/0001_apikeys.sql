-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_api_keys (
	tenant         varbinary(64) NOT NULL,
	id             varbinary(64) NOT NULL,
	user_id        varbinary(255) NOT NULL,
	service_id     varbinary(64) NOT NULL,
	name           varbinary(512) NOT NULL,
	scopes         text NOT NULL,
	networks       text NOT NULL,
	hash           varbinary(32) NOT NULL,
	previous_hash  varbinary(32) NOT NULL,
	previous_until bigint NOT NULL,
	version        bigint NOT NULL,
	created_at     bigint NOT NULL,
	expires_at     bigint NOT NULL,
	last_used_at   bigint NOT NULL,
	rotated_at     bigint NOT NULL,
	PRIMARY KEY (tenant, id),
	KEY authkit_api_keys_owner (tenant, user_id, service_id),
	KEY authkit_api_keys_expiry (tenant, expires_at)
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS authkit_services (
	tenant     varbinary(64) NOT NULL,
	id         varbinary(64) NOT NULL,
	roles      text NOT NULL,
	created_at bigint NOT NULL,
	PRIMARY KEY (tenant, id)
) ENGINE = InnoDB;
