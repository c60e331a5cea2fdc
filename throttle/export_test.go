package throttle

// Size returns how many bytes a Memory has for records, and how many records it has.
func (m *Memory) Size() (bytes, records int) {
	for _, set := range m.sets {
		bytes += 48 * cap(set)
		records += len(set)
	}
	return bytes, records
}
