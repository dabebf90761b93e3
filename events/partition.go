package events

// FNV-1a with 32 bits, which is the hash of the partition() mapping of NATS.
const (
	fnvOffset uint32 = 2166136261
	fnvPrime  uint32 = 16777619
)

// Partition is the partition of the conversation of e in a log of so many partitions. It equals
// what nats-server computes from the subject of e by [IngressMapping], so that an event gets to the
// same partition whichever way it is published. Internal kinds have no conversation; receiptd
// addresses them itself.
func Partition(e *Event, partitions int) int {
	if partitions <= 1 {
		return 0
	}
	h := hashApp(fnvOffset, e.App)
	if e.Group != "" {
		h = hashEscaped(hashPlain(h, groupToken), e.Group)
	} else {
		a, b := e.User, e.Peer
		if b < a {
			a, b = b, a
		}
		h = hashEscaped(hashPlain(h, singleToken), a)
		h = hashEscaped(hashPlain(h, "~"), b)
	}
	return int(h % uint32(partitions))
}

// hashApp hashes the tokens of org and app. NATS joins the tokens that it hashes without a
// separator, so that the '#' of the key is left out.
func hashApp(h uint32, key string) uint32 {
	for i := 0; i < len(key); i++ {
		if key[i] == '#' {
			return hashEscaped(hashEscaped(h, key[:i]), key[i+1:])
		}
	}
	return hashEscaped(h, key)
}

func hashPlain(h uint32, s string) uint32 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint32(s[i])) * fnvPrime
	}
	return h
}

// hashEscaped hashes what appendEscaped would append.
func hashEscaped(h uint32, s string) uint32 {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !plainTokenByte[c] {
			h = (h ^ '%') * fnvPrime
			h = (h ^ uint32(upperHex[c>>4])) * fnvPrime
			c = upperHex[c&15]
		}
		h = (h ^ uint32(c)) * fnvPrime
	}
	return h
}
