-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_trusted_devices (
	tenant     varbinary(64) NOT NULL,
	id         varbinary(255) NOT NULL,
	user_id    varbinary(255) NOT NULL,
	hash       varbinary(32) NOT NULL,
	agent      varbinary(1024) NOT NULL,
	created_at bigint NOT NULL,
	expires_at bigint NOT NULL,
	PRIMARY KEY (tenant, id),
	KEY authkit_trusted_devices_user (tenant, user_id, created_at),
	KEY authkit_trusted_devices_expiry (tenant, expires_at)
) ENGINE = InnoDB;
