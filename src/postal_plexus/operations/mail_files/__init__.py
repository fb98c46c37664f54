"""Read mail from files of the operator's machine: mbox, Maildir, .eml, directories and zip files.

    sources       a path -> its messages, one by one, with folder, flags and date
    mbox          an mbox as a stream -> its messages
    message       one message as a stream -> its content, its hash, and its header's flags and date
    folder_names  a source's folder names -> folder names here
    labels        Gmail's labels in a Takeout -> folders and flags
    sending       all messages of a path -> a stream of records (`maintenance.mail_records`)

Everything is read as a stream: memory holds one line of at most 64 KiB, and a message above 1 MB is
kept in a temporary file. The input is hostile: a name never becomes a path, links and pipes are not
opened, and nothing is unpacked to disk. Whatever cannot be read is reported with the reason, and
reading continues.
"""
