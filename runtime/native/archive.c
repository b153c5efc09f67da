/* The artifact as an archive: a zip whose members are stored, read in place with every length checked.
 *
 * The comment at the end of the file holds our magic, the format version and a checksum of the central directory, so
 * together with the members' own checksums any changed bit outside the weights is found. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { END_BYTES = 22, ENTRY_BYTES = 46, LOCAL_BYTES = 30, COMMENT_BYTES = 16, MAX_MEMBERS = 65534 };
#define COMMENT_MAGIC "PENSTOCK"

pens_status pens_fail(pens_error *error, pens_status status, const char *format, ...)
{
    if (error != NULL) {
        va_list arguments;
        va_start(arguments, format);
        error->status = status;
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return status;
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t get16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint64_t get64(const uint8_t *p)
{
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

/* CRC-32 (IEEE 802.3), eight bytes a step: Kounavis and Berry 2005, "slicing by 8". */
static void crc_tables(uint32_t table[8][256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
        table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
}

uint32_t pens_crc32(const uint8_t *data, uint64_t bytes)
{
    uint32_t t[8][256], c = 0xFFFFFFFFu;
    crc_tables(t);
    for (; bytes >= 8; bytes -= 8, data += 8) {
        uint32_t low = get32(data) ^ c, high = get32(data + 4);
        c = t[7][low & 255] ^ t[6][low >> 8 & 255] ^ t[5][low >> 16 & 255] ^ t[4][low >> 24] ^ t[3][high & 255] ^
            t[2][high >> 8 & 255] ^ t[1][high >> 16 & 255] ^ t[0][high >> 24];
    }
    for (; bytes > 0; bytes--, data++)
        c = c >> 8 ^ t[0][(c ^ *data) & 255];
    return ~c;
}

typedef struct {
    pens_span directory;
    uint32_t members;
} archive_end;

/* Find the end record (it must be the last thing in the file) and the central directory. */
static pens_status find_directory(const pens_model *model, archive_end *end, pens_error *error)
{
    uint64_t size = model->file_bytes;
    if (size < END_BYTES + COMMENT_BYTES)
        return pens_fail(error, PENS_NOT_AN_ARTIFACT, "The file is too short to be a penstock artifact.");
    const uint8_t *record = model->file + size - END_BYTES - COMMENT_BYTES, *comment = record + END_BYTES;
    if (get32(record) != 0x06054b50 || get16(record + 20) != COMMENT_BYTES || memcmp(comment, COMMENT_MAGIC, 8) != 0) {
        if (size >= 4 && get32(model->file) == 0x04034b50)
            return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: its end is missing or changed.");
        return pens_fail(error, PENS_NOT_AN_ARTIFACT, "The file is not a penstock artifact.");
    }
    if (get32(comment + 8) != PENS_FORMAT_VERSION)
        return pens_fail(error, PENS_WRONG_VERSION, "The artifact has format version %u and this runtime reads version %u.",
                         get32(comment + 8), PENS_FORMAT_VERSION);
    uint64_t bytes = get32(record + 12), offset = get32(record + 16), members = get16(record + 10);
    if (offset == 0xFFFFFFFFu || bytes == 0xFFFFFFFFu || members == 0xFFFF) { /* zip64: its records stand before ours */
        if (size < END_BYTES + COMMENT_BYTES + 20 + 56 || get32(record - 20) != 0x07064b50)
            return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: its 64-bit directory is missing.");
        const uint8_t *large = record - 20 - 56;
        if (get32(large) != 0x06064b50)
            return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: its 64-bit directory is missing.");
        members = get64(large + 32), bytes = get64(large + 40), offset = get64(large + 48);
    }
    if (offset > size || bytes > size - offset || members > MAX_MEMBERS)
        return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: its directory lies outside the file.");
    end->directory.data = model->file + offset;
    end->directory.bytes = bytes;
    end->members = (uint32_t)members;
    if (pens_crc32(end->directory.data, bytes) != get32(comment + 12))
        return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: its directory does not match its checksum.");
    return PENS_OK;
}

/* 64-bit sizes and offset of an entry, which stand in its extra field when the 32-bit ones are all ones. */
static int large_fields(const uint8_t *entry, const uint8_t *extra, uint32_t bytes, uint64_t *size, uint64_t *offset)
{
    *size = get32(entry + 24), *offset = get32(entry + 42);
    uint64_t stored = get32(entry + 20);
    if (*size != 0xFFFFFFFFu && *offset != 0xFFFFFFFFu)
        return stored == *size;
    for (uint32_t at = 0; at + 4 <= bytes;) {
        uint32_t kind = get16(extra + at), length = get16(extra + at + 2);
        if (length > bytes - at - 4)
            return 0;
        if (kind == 1) {
            const uint8_t *p = extra + at + 4, *stop = p + length;
            uint64_t *wanted[3] = {*size == 0xFFFFFFFFu ? size : NULL, stored == 0xFFFFFFFFu ? &stored : NULL,
                                   *offset == 0xFFFFFFFFu ? offset : NULL};
            for (int i = 0; i < 3; i++) {
                if (wanted[i] == NULL)
                    continue;
                if (stop - p < 8)
                    return 0;
                *wanted[i] = get64(p);
                p += 8;
            }
            return stored == *size;
        }
        at += 4 + length;
    }
    return 0;
}

/* Walk the directory. With a name: find that member (absent: status OK, data NULL); without: check every entry. */
static pens_status walk(const pens_model *model, const char *name, pens_member *member, pens_error *error)
{
    archive_end end = {{NULL, 0}, 0};
    pens_status status = find_directory(model, &end, error);
    if (status != PENS_OK)
        return status;
    const uint8_t *p = end.directory.data, *stop = p + end.directory.bytes;
    for (uint32_t i = 0; i < end.members; i++) {
        if (stop - p < ENTRY_BYTES || get32(p) != 0x02014b50)
            return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: directory entry %u is broken.", i);
        uint32_t name_bytes = get16(p + 28), extra_bytes = get16(p + 30), comment_bytes = get16(p + 32);
        uint64_t entry_bytes = ENTRY_BYTES + (uint64_t)name_bytes + extra_bytes + comment_bytes;
        uint64_t size, offset;
        if ((uint64_t)(stop - p) < entry_bytes || get16(p + 10) != 0 ||
            !large_fields(p, p + ENTRY_BYTES + name_bytes, extra_bytes, &size, &offset))
            return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: directory entry %u is broken.", i);
        if (name != NULL && name_bytes == strlen(name) && memcmp(p + ENTRY_BYTES, name, name_bytes) == 0) {
            if (offset > model->file_bytes || model->file_bytes - offset < LOCAL_BYTES ||
                get32(model->file + offset) != 0x04034b50)
                return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: %s is not where it should be.", name);
            const uint8_t *local = model->file + offset;
            uint64_t start = offset + LOCAL_BYTES + get16(local + 26) + get16(local + 28);
            if (get16(local + 26) != name_bytes || start > model->file_bytes || size > model->file_bytes - start)
                return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: %s lies outside the file.", name);
            *member = (pens_member){{model->file + start, size}, start, get32(p + 16)};
            return PENS_OK;
        }
        p += entry_bytes;
    }
    if (name != NULL)
        *member = (pens_member){{NULL, 0}, 0, 0};
    return PENS_OK;
}

pens_status pens_check_archive(const pens_model *model, pens_error *error)
{
    return walk(model, NULL, NULL, error);
}

pens_status pens_find_member(const pens_model *model, const char *name, int check, pens_member *member,
                             pens_error *error)
{
    pens_status status = walk(model, name, member, error);
    if (status != PENS_OK)
        return status;
    if (member->span.data == NULL)
        return pens_fail(error, PENS_DAMAGED, "The artifact is damaged: %s is missing.", name);
    if (check && pens_crc32(member->span.data, member->span.bytes) != member->crc)
        return pens_fail(error, check > 1 ? PENS_DAMAGED_WEIGHTS : PENS_DAMAGED,
                         "The artifact is damaged: %s does not match its checksum.", name);
    return PENS_OK;
}
