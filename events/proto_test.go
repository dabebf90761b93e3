package events

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// What the tests of the schema need of the protobuf library: schema/events.proto as descriptors,
// and messages of it.

var (
	protoMessage = regexp.MustCompile(`^(message|enum) (\w+) \{$`)
	protoField   = regexp.MustCompile(`^(repeated )?(\w+) (\w+) = (\d+);$`)
	protoValue   = regexp.MustCompile(`^(\w+) = (\d+);$`)
)

// parseProto reads as much of the language as schema/events.proto uses: one declaration a line.
func parseProto(text string) (*descriptorpb.FileDescriptorProto, error) {
	file := &descriptorpb.FileDescriptorProto{Name: proto.String("events.proto"), Syntax: proto.String("proto3")}
	var message *descriptorpb.DescriptorProto
	var enum *descriptorpb.EnumDescriptorProto
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "//")
		line = strings.TrimSpace(line)
		switch m := protoMessage.FindStringSubmatch(line); {
		case line == "" || line == `syntax = "proto3";`:
		case strings.HasPrefix(line, "package "):
			file.Package = proto.String(strings.TrimSuffix(strings.TrimPrefix(line, "package "), ";"))
		case m != nil && m[1] == "message":
			message = &descriptorpb.DescriptorProto{Name: &m[2]}
			file.MessageType = append(file.MessageType, message)
		case m != nil:
			enum = &descriptorpb.EnumDescriptorProto{Name: &m[2]}
			file.EnumType = append(file.EnumType, enum)
		case line == "}":
			message, enum = nil, nil
		case message != nil && protoField.MatchString(line):
			m := protoField.FindStringSubmatch(line)
			number, _ := strconv.Atoi(m[4])
			message.Field = append(message.Field, fieldDescriptor(m[1] != "", m[2], m[3], number))
		case enum != nil && protoValue.MatchString(line):
			m := protoValue.FindStringSubmatch(line)
			number, _ := strconv.Atoi(m[2])
			enum.Value = append(enum.Value, &descriptorpb.EnumValueDescriptorProto{Name: &m[1], Number: proto.Int32(int32(number))})
		default:
			return nil, fmt.Errorf("line %d: %q", n+1, line)
		}
	}
	return file, nil
}

var scalarTypes = map[string]descriptorpb.FieldDescriptorProto_Type{
	"bool": descriptorpb.FieldDescriptorProto_TYPE_BOOL, "bytes": descriptorpb.FieldDescriptorProto_TYPE_BYTES,
	"int64": descriptorpb.FieldDescriptorProto_TYPE_INT64, "sint64": descriptorpb.FieldDescriptorProto_TYPE_SINT64,
	"string": descriptorpb.FieldDescriptorProto_TYPE_STRING, "uint32": descriptorpb.FieldDescriptorProto_TYPE_UINT32,
	"uint64": descriptorpb.FieldDescriptorProto_TYPE_UINT64,
}

func fieldDescriptor(repeated bool, typ, name string, number int) *descriptorpb.FieldDescriptorProto {
	f := &descriptorpb.FieldDescriptorProto{
		Name: &name, Number: proto.Int32(int32(number)), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	}
	if repeated {
		f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	}
	if scalar, ok := scalarTypes[typ]; ok {
		f.Type = scalar.Enum()
	} else {
		f.TypeName = proto.String(".receiptd.v1." + typ)
	}
	return f
}

var schema = sync.OnceValues(func() (protoreflect.FileDescriptor, error) {
	text, err := os.ReadFile("../schema/events.proto")
	if err != nil {
		return nil, err
	}
	file, err := parseProto(string(text))
	if err != nil {
		return nil, err
	}
	return protodesc.NewFile(file, nil)
})

// newMessage makes an empty message of the schema.
func newMessage(t testing.TB, name protoreflect.Name) *dynamicpb.Message {
	t.Helper()
	file, err := schema()
	if err != nil {
		t.Fatalf("schema/events.proto: %v", err)
	}
	return dynamicpb.NewMessage(file.Messages().ByName(name))
}

// parseMessage reads a message with the protobuf library, which must know every field of it.
func parseMessage(t testing.TB, name protoreflect.Name, data []byte) protoMsg {
	t.Helper()
	m := newMessage(t, name)
	if err := proto.Unmarshal(data, m); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	noUnknown(t, m)
	return protoMsg{m}
}

func noUnknown(t testing.TB, m protoreflect.Message) {
	t.Helper()
	if unknown := m.GetUnknown(); len(unknown) > 0 {
		t.Fatalf("%s: the schema does not know % x", m.Descriptor().Name(), unknown)
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				noUnknown(t, v.List().Get(i).Message())
			}
		default:
			noUnknown(t, v.Message())
		}
		return true
	})
}

// protoMsg reads the fields of a message by name.
type protoMsg struct{ protoreflect.Message }

func (m protoMsg) get(name protoreflect.Name) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(name))
}
func (m protoMsg) sub(name protoreflect.Name) protoMsg { return protoMsg{m.get(name).Message()} }
func (m protoMsg) str(name protoreflect.Name) string   { return m.get(name).String() }
func (m protoMsg) uint(name protoreflect.Name) uint64  { return m.get(name).Uint() }
func (m protoMsg) int(name protoreflect.Name) int64    { return m.get(name).Int() }
func (m protoMsg) bool(name protoreflect.Name) bool    { return m.get(name).Bool() }

func (m protoMsg) list(name protoreflect.Name) (values []protoreflect.Value) {
	list := m.get(name).List()
	for i := range list.Len() {
		values = append(values, list.Get(i))
	}
	return values
}

func (m protoMsg) strings(name protoreflect.Name) (values []string) {
	for _, v := range m.list(name) {
		values = append(values, v.String())
	}
	return values
}
