// Package tlv is the canonical record encoding of everything that tarn stores: type, length, value.
//
// A record is a run of fields in ascending order of their tags; a tag may repeat, for lists. Each field is
//
//	tag    uvarint   odd: critical, a reader that does not know it must refuse the record
//	                 even: a reader that does not know it skips the field
//	length uvarint   bytes of value
//	value
//
// with uvarints as in encoding/binary, in their shortest form. Numbers inside values are uvarints too; a field whose value is the
// type's zero is left out, so no field is empty. So equal records have equal bytes, on every machine, and the format can grow at both
// levels.
//
// Decoding works on strings: values alias the record and nobody can change them. A [Reader] allocates nothing, never reads
// past the record, and checks order, repetition, zeros and shortest form, so that a record has one spelling only.
package tlv
