"""Mail in files of one's own machine: mbox, Maildir, .eml, folders and zip files of them.

    sources       a path -> what lies there, mail by mail, with folder, flags and date
    mbox          an mbox as a stream -> its mails
    message       one mail as a stream -> its octets, its name by hash, what its header says
    folder_names  levels of any source -> a folder of ours
    labels        Gmail's labels in a Takeout -> a folder
    sending       all of it -> records in parts (`maintenance.mail_records`)

Everything is read as a stream: memory holds one line of at most 64 KiB, and a mail above 1 MB waits
in a temporary file. What is read is hostile: a name never becomes a path, links and pipes are not
opened, and nothing is unpacked to disk. What cannot be taken is told with its reason, and never
ends the rest.
"""
