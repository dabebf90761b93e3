package inbox

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/internal/leader"
)

// FuzzDevicePositions: whatever is stored as the positions of a user's devices, it is refused, or
// is some devices, each once, that are written and read again as they are. What a device has
// acknowledged is never more than one of them says.
func FuzzDevicePositions(f *testing.F) {
	f.Add([]byte(`[{"device":"web","sequence":7,"at":1700000000},{"device":"phone","sequence":3,"at":1700000001}]`))
	f.Add([]byte(`[{"device":"web","sequence":7},{"device":"web","sequence":3}]`))
	f.Add([]byte(`[{"device":"","sequence":18446744073709551615,"at":-1}]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		devices, err := decodePositions(text)
		if err != nil {
			if devices != nil {
				t.Errorf("%q: %v beside %v", text, devices, err)
			}
			return
		}
		u := userDevices{devices: devices}
		low := floor(devices)
		for _, p := range devices {
			if got := u.at(p.Device); got != p.Sequence || got < low {
				t.Errorf("%q: %q is at %d, want %d, and all have %d", text, p.Device, got, p.Sequence, low)
			}
		}
		if len(devices) > maxDevices || len(devices) > len(text) {
			t.Errorf("%q: %d devices", text, len(devices))
		}
		again, err := json.Marshal(devices)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodePositions(again); err != nil || !slices.Equal(got, devices) {
			t.Errorf("%q is written as %q, which is %v, %v", text, again, got, err)
		}
	})
}

// FuzzDevicePosition: whatever is stored as the position of one device, by whichever process, it is
// refused, or is that of the device under whose name it is.
func FuzzDevicePosition(f *testing.F) {
	key := userKey("acme#chat", "ann")
	f.Add("web", []byte(`{"device":"web","sequence":7,"at":1700000000}`))
	f.Add("web", []byte(`{"device":"phone","sequence":7}`))
	f.Add("", []byte(`{"sequence":18446744073709551615,"at":-1}`))
	f.Add("web", []byte(`null`))
	f.Fuzz(func(t *testing.T, device string, text []byte) {
		p, err := storedDevice(key, leader.Message{Subject: deviceSubject(key, device), Sequence: 9, Data: text})
		if err != nil {
			if p != (position{}) {
				t.Errorf("%q: %+v beside %v", text, p, err)
			}
			return
		}
		if p.Device != device || p.written != p.Sequence || p.revision != 9 {
			t.Errorf("%q of %q: %+v", text, device, p)
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := storedDevice(key, leader.Message{Subject: deviceSubject(key, device), Sequence: 9, Data: again})
		if err != nil || got != p {
			t.Errorf("%q is written as %q, which is %+v, %v", text, again, got, err)
		}
	})
}

// FuzzRecord: whatever is stored in an inbox, it is refused, or stands for a whole message, or for
// a body, by the sequence that it was stored with.
func FuzzRecord(f *testing.F) {
	f.Add([]byte("\x00hello"))
	f.Add([]byte{kindMessage})
	f.Add(reference(7))
	f.Add(reference(1<<64 - 1))
	f.Add(append(reference(7), "and what is no part of it"...))
	f.Add([]byte{kindReference, 0x80})
	f.Fuzz(func(t *testing.T, record []byte) {
		message, body, err := parseRecord(record)
		switch {
		case err != nil:
			if message != nil || body != 0 {
				t.Errorf("%x: %x, %d beside %v", record, message, body, err)
			}
		case message != nil:
			if body != 0 || !bytes.Equal(record, append([]byte{kindMessage}, message...)) {
				t.Errorf("%x: %x, %d", record, message, body)
			}
		default:
			if _, again, err := parseRecord(reference(body)); body == 0 || err != nil || again != body || len(record) > len(reference(1<<64-1)) {
				t.Errorf("%x: body %d, which is written as %x", record, body, reference(body))
			}
		}
	})
}
